package sku

import "time"

// t0 is when all tests begin.
var t0 = time.UnixMilli(1_800_000_000_000).UTC()
