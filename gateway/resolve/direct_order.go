package resolve

import (
	"context"

	"stampede/gateway/graph"
	"stampede/gateway/operation"
	"stampede/gateway/scalar"
)

// Placing an order without gqlgen. Whatever is not quite as the schema has it
// (somebody who may not, an argument of another type, a field that this file
// does not know) is declined before anything is done: gqlgen finds the words.

func (r *Resolver) directPlaceOrder(ctx context.Context, ask operation.Ask) (operation.Direction, error) {
	input, ok := placeOrderInput(ask.Arguments["input"])
	if !ok || !hasRole(ctx, customer) {
		return operation.Direction{Declined: true}, nil
	}
	payload, err := (&mutationResolver{r}).PlaceOrder(ctx, input)
	return operation.Direction{Value: payload}, err
}

// inputObject takes the fields of an input object one by one.
type inputObject struct {
	fields map[string]any
	// taken is how many of them were asked for, and wrong: one was not of its type.
	taken int
	wrong bool
}

func placeOrderInput(v any) (in graph.PlaceOrderInput, ok bool) {
	o := inputOf(v)
	in.IdempotencyKey = must(o, "idempotencyKey", scalar.UnmarshalString)
	in.Lines = must(o, "lines", lineInputs)
	in.SaleID = given(o, "saleId", scalar.UnmarshalID)
	in.AdmissionToken = given(o, "admissionToken", scalar.UnmarshalString)
	in.PaymentToken = given(o, "paymentToken", scalar.UnmarshalString)
	return in, o.complete()
}

func lineInputs(v any) ([]graph.LineInput, error) {
	list, ok := v.([]any)
	lines := make([]graph.LineInput, len(list))
	for i, item := range list {
		o := inputOf(item)
		lines[i].Sku = must(o, "sku", scalar.UnmarshalString)
		lines[i].Quantity = must(o, "quantity", scalar.UnmarshalInt)
		lines[i].ExpectedPrice = given(o, "expectedPrice", moneyInput)
		ok = ok && o.complete()
	}
	return lines, unless(ok)
}

func moneyInput(v any) (in graph.MoneyInput, err error) {
	o := inputOf(v)
	in.Amount = must(o, "amount", func(v any) (d scalar.Decimal, err error) { return d, d.UnmarshalGQL(v) })
	in.Currency = must(o, "currency", scalar.UnmarshalString)
	return in, unless(o.complete())
}

func inputOf(v any) *inputObject {
	fields, ok := v.(map[string]any)
	return &inputObject{fields: fields, wrong: !ok}
}

// complete reports that every field was one that was asked for, and of its type.
func (o *inputObject) complete() bool { return !o.wrong && o.taken == len(o.fields) }

func must[T any](o *inputObject, name string, read func(any) (T, error)) (value T) {
	v, there := o.fields[name]
	if !there {
		o.wrong = true
		return value
	}
	o.taken++
	value, err := read(v)
	o.wrong = o.wrong || err != nil
	return value
}

func given[T any](o *inputObject, name string, read func(any) (T, error)) *T {
	v, there := o.fields[name]
	if !there {
		return nil
	}
	o.taken++
	value, ok := optionalArgument(v, read)
	o.wrong = o.wrong || !ok
	return value
}

// errDeclined never leaves this file.
var errDeclined = &scalar.Error{Want: "of its type"}

func unless(ok bool) error {
	if ok {
		return nil
	}
	return errDeclined
}
