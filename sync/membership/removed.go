package membership

// Removed reports whether this device has no place in the project any more: its member was removed, or its admission
// turned out to be void. The project can still be read then; it sends nothing, serves nobody and lets nobody in. Close it
// and call [Registry.Return] once a new invite has let the device in again.
func (p *Project) Removed() bool {
	if p.gate.awaiting() {
		return false // it is being admitted
	}
	d, ok := p.State().Device(p.self.Device.ID)
	return !ok || !d.Live
}

// retire takes a project from which this device was removed out of the registry, so that the transport closes what
// was connected because of it alone.
func (p *Project) retire() {
	if p.tasks.Context().Err() != nil || p.reg.retire(p) != nil {
		return // it is being closed
	}
	if host := p.reg.transport(); host != nil {
		host.Recheck()
	}
}
