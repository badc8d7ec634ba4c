package membership

// Removed reports whether this device has no place in the project any more: its member was removed, or its admission
// turned out to be void. The project can still be read then. It asks nobody and tells nobody of anything new, but answers
// members who come: they come only if they know that the removal does not count, and bring the event that says so.
// Otherwise close the project, and call [Registry.Return] once a new invite has let the device in again.
func (p *Project) Removed() bool {
	if p.gate.awaiting() {
		return false // it is being admitted
	}
	d, ok := p.State().Device(p.self.Device.ID)
	return !ok || !d.Live
}
