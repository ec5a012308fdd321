package actors

import (
	"stampede/actors/apikey"
	"stampede/actors/entity"
	"stampede/actors/roster"
	"stampede/actors/sale"
)

// Replayer rebuilds an actor's state from its records; nil: there is no such kind.
func Replayer(addr entity.Address) entity.Replayer {
	switch addr.Kind {
	case "sku":
		return entity.NewReplayer(SKU(), addr.ID)
	case "order":
		return entity.NewReplayer(Order(), addr.ID)
	case "product":
		return entity.NewReplayer(Product(), addr.ID)
	case "account":
		return entity.NewReplayer(Account(), addr.ID)
	case apikey.Name:
		return entity.NewReplayer(APIKey(), addr.ID)
	case roster.Name:
		return entity.NewReplayer(Roster(), addr.ID)
	case sale.Name:
		return entity.NewReplayer(Sale(), addr.ID)
	}
	return nil
}
