package server

import (
	"net/http"
	"regexp"
	"time"
)

var timeForms = regexp.MustCompile(timePattern)

// period reads the times from and to of a query, nil where one is not given. They are taken as texts: huma is laxer about
// times than our bodies are.
func period(from, to string) (start, end *time.Time, err error) {
	if start, err = queryTime("query.from", from); err != nil {
		return nil, nil, err
	}
	if end, err = queryTime("query.to", to); err != nil {
		return nil, nil, err
	}
	if start != nil && end != nil && !start.Before(*end) {
		return nil, nil, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "query.to", "expected a time after from")
	}
	return start, end, nil
}

// maxYear keeps times countable in microseconds. The years before 0, into which an offset can lead, are as little to be written
// in JSON as those after it.
const maxYear = 9999

func queryTime(location, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	at = at.UTC()
	if err != nil || !timeForms.MatchString(text) || at.Year() < 0 || at.Year() > maxYear {
		return nil, badField(http.StatusUnprocessableEntity, codeInvalidRequest, location, timeForm)
	}
	return &at, nil
}
