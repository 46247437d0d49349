-- +goose Up

-- What is left of usage once its hours are old: requests by the day (UTC) and no longer by conversation. A row of usage is
-- counted either there or here. The sums stop at 2^53-1.
CREATE TABLE usage_days (
    day_us   INTEGER NOT NULL,
    key_id   TEXT    NOT NULL,
    route    TEXT    NOT NULL CHECK (route <> ''),
    requests INTEGER NOT NULL CHECK (requests BETWEEN 0 AND 9007199254740991),
    credits  INTEGER NOT NULL CHECK (credits  BETWEEN 0 AND 9007199254740991),
    refused  INTEGER NOT NULL CHECK (refused  BETWEEN 0 AND 9007199254740991),
    PRIMARY KEY (key_id, day_us, route)
) STRICT, WITHOUT ROWID;

-- For what is asked of a time and of no key. Rows are inserted under it once an hour and only updated after that, which
-- leaves it alone.
CREATE INDEX usage_by_hour ON usage (hour_us);
CREATE INDEX usage_days_by_day ON usage_days (day_us);
