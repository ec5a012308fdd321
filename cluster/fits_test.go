package cluster_test

import (
	"stampede/cluster"
	"stampede/cluster/membership"
)

var _ cluster.Membership = (*membership.Service)(nil)
