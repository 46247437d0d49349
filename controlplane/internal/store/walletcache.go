package store

import "fmt"

// walletCacheSize is how many wallets are remembered. One takes some 200 bytes.
const walletCacheSize = 1 << 16

// walletCache remembers, from batch to batch, wallets as the writer left them: to read one takes longer than to debit it.
// The writer alone uses it. It is no proof of anything: whatever moves a wallet is held against its row.
type walletCache struct {
	// version is SQLite's data_version, which changes when another connection has committed something.
	version int64
	known   map[string]wallet
}

// at forgets what another connection may have changed since.
func (c *walletCache) at(version int64) {
	if c.version != version || c.known == nil || len(c.known) >= walletCacheSize {
		c.version, c.known = version, make(map[string]wallet)
	}
}

// forget drops everything: of a batch that failed nobody knows what it was told wrong.
func (c *walletCache) forget() { c.known = nil }

// keep remembers what a batch has read and written, once it is committed.
func (c *walletCache) keep(wallets map[string]*wallet) {
	for accountID, w := range wallets {
		c.known[accountID] = *w
	}
}

// recall looks for what the batches before have left, unless the batch is a careful one: that reads everything itself.
func (tx *writeTx) recall(c *walletCache) error {
	var version int64
	if err := tx.row(stmtDataVersion).Scan(&version); err != nil {
		return fmt.Errorf("read data version: %w", err)
	}
	c.at(version)
	tx.remembered = c.known
	return nil
}
