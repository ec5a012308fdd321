package mongo

import (
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"stampede/persistence"
)

// listQueries is every combination of filters.
func listQueries() (all []persistence.ListQuery) {
	for _, owner := range []string{"", "ann"} {
		for _, state := range []string{"", "OPEN"} {
			for _, after := range []string{"", "id"} {
				all = append(all, persistence.ListQuery{Kind: "order", Owner: owner, State: state, AfterID: after, AfterSortMs: 5, Limit: 10})
			}
		}
	}
	return all
}

func explain(t *testing.T, s *Store, find bson.D) string {
	t.Helper()
	var plan struct {
		Planner struct {
			Winning bson.Raw `bson:"winningPlan"`
		} `bson:"queryPlanner"`
	}
	command := bson.D{{Key: "explain", Value: find}, {Key: "verbosity", Value: "queryPlanner"}}
	if err := s.views.Database().RunCommand(t.Context(), command).Decode(&plan); err != nil {
		t.Fatalf("explain: %v", err)
	}
	return plan.Planner.Winning.String()
}

func expectPlan(t *testing.T, what, plan, index string) {
	t.Helper()
	if !strings.Contains(plan, `"indexName": "`+index+`"`) || strings.Contains(plan, `"stage": "SORT"`) || strings.Contains(plan, "COLLSCAN") {
		t.Errorf("%s does not come straight from index %s: %s", what, index, plan)
	}
}
