package broker

// Clean is what happens now and then.
func (b *Broker) Clean() { b.clean() }
