package access

import "github.com/tollgate/tollgate/controlplane/api"

// maxUsageRows bounds the rows that one VM keeps; there is room for firstUsageRows before the first is counted.
const (
	maxUsageRows   = 4_096
	firstUsageRows = 64
)

// Usage sums requests by key, route and conversation until the control plane has counted them. It belongs to one boot,
// because its batches are numbered from 1 for each boot, and is for one goroutine. Count allocates nothing, but for more
// rows than there ever were.
type Usage struct {
	key    sipKey
	routes []string
	// rows is a ring: n rows from first, oldest first.
	rows     []usageRow
	first, n int
	byTag    tagIndex
	// recent are rows found lately, by place of a lease: most requests come without a conversation, and are counted in the
	// row that the one before them was counted in.
	recent [1 << recentBits]recentRow
	// other sums what no row was left for.
	other Tally
	// sent is the batch that is not acknowledged yet, or nil; seq the number of the last one made.
	sent *api.UsageBatch
	seq  int64
}

// Tally is what a row sums. Each stays at api.MaxCredits once it is there.
type Tally struct {
	Requests int64
	// Credits were charged.
	Credits int64
	// Refused counts those of Requests that were denied.
	Refused int64
}

func (t *Tally) add(u Tally) {
	add := func(sum *int64, n int64) { *sum = min(*sum+max(0, min(n, api.MaxCredits)), api.MaxCredits) }
	add(&t.Requests, u.Requests)
	add(&t.Credits, u.Credits)
	add(&t.Refused, u.Refused)
}

type usageRow struct {
	tag          Tag
	sum          Tally
	route        int32
	key          leaseID
	conversation [maxConversationLen]byte
	talk         uint8
}

const recentBits = 8

// recentRow is the row, by number, of a lease's key on a route, as long as the row has that tag.
type recentRow struct {
	lease LeaseRef
	route int32
	row   int32
	tag   Tag
}

// NewUsage returns an empty Usage. Routes are the labels of the routes by number, the path or prefix as configured;
// what the protocol does not take is replaced, and cut to its length. The seed is random and this VM's own.
func NewUsage(routes []string, seed [16]byte) *Usage {
	u := &Usage{key: newSipKey(seed), rows: make([]usageRow, firstUsageRows), byTag: newTagIndex()}
	for _, r := range routes {
		u.routes = append(u.routes, usageLabel(r))
	}
	return u
}

// usageLabel makes s a label: 1 to api.MaxLabelLen visible ASCII characters, and not the one that stands for all others.
func usageLabel(s string) string {
	label := []byte(s[:min(len(s), api.MaxLabelLen)])
	for i, c := range label {
		if c < 0x21 || c > 0x7e {
			label[i] = '?'
		}
	}
	if len(label) == 0 || string(label) == api.OtherRows {
		return "-"
	}
	return string(label)
}

// Count adds to the row of a key's id on a route, by number, in a conversation, empty if there is none. A request that
// was held is counted when its charge is known. With no row left, and for what cannot be in a row, the sum of the
// others grows.
func (u *Usage) Count(route int, key string, conversation string, t Tally) {
	if row := u.row(route, key, conversation); row != nil {
		row.sum.add(t)
		return
	}
	u.other.add(t)
}

// CountLease is Count for the key that a lease of l belongs to. It counts nothing for a lease that is forgotten.
func (u *Usage) CountLease(l *Leases, lease LeaseRef, route int, conversation string, t Tally) {
	known := &u.recent[lease.place&(1<<recentBits-1)]
	if conversation == "" && lease.place > 0 && known.lease == lease && known.route == int32(route) && u.rows[known.row].tag == known.tag {
		u.rows[known.row].sum.add(t)
		return
	}
	who, ok := l.Identity(lease)
	if !ok {
		return
	}
	row := u.row(route, who.Key, conversation)
	if row == nil {
		u.other.add(t)
		return
	}
	row.sum.add(t)
	if conversation == "" {
		*known = recentRow{lease: lease, route: int32(route), row: u.byTag.find(row.tag), tag: row.tag}
	}
}

func (u *Usage) row(route int, key string, conversation string) *usageRow {
	if route < 0 || route >= len(u.routes) || len(key) == 0 || len(key) > api.MaxIDLen ||
		len(conversation) > maxConversationLen {
		return nil
	}
	tag := u.key.hash(hashUsage|uint64(uint32(route)), key, conversation)
	if i := u.byTag.find(tag); i >= 0 {
		return &u.rows[i]
	}
	if u.n == len(u.rows) && !u.grow() {
		return nil
	}
	i := (u.first + u.n) % len(u.rows)
	u.n++
	u.byTag.put(tag, int32(i))
	row := &u.rows[i]
	row.tag, row.sum, row.route = tag, Tally{}, int32(route)
	row.key.set(key)
	row.talk = uint8(copy(row.conversation[:], conversation))
	return row
}

// grow makes room for twice as many rows, unless there are as many as may be.
func (u *Usage) grow() bool {
	if len(u.rows) >= maxUsageRows {
		return false
	}
	rows := make([]usageRow, 2*len(u.rows))
	u.byTag.clear()
	for i := range u.n {
		rows[i] = u.rows[(u.first+i)%len(u.rows)]
		u.byTag.put(rows[i].tag, int32(i))
	}
	u.rows, u.first = rows, 0
	return true
}
