package feed

import "slices"

// item is one waiting event.
type item[T any] struct {
	value T
	key   any
	merge bool
	keep  bool
}

// subscriber is one receiver's queue; the feed's mutex guards it.
type subscriber[T any] struct {
	wake    chan struct{} // holds a token while something may wait
	queue   []*item[T]
	waiting map[any]*item[T] // by key, what is in queue and may be replaced
	missed  uint64           // dropped since the receiver was last told
}

func (s *subscriber[T]) push(it item[T], size int) {
	if it.merge {
		if old, ok := s.waiting[it.key]; ok {
			old.value = it.value
			return
		}
	}
	if len(s.queue) == size {
		s.missed++
		if !s.makeRoom(it.keep) {
			return
		}
	}
	s.queue = append(s.queue, &it)
	if it.merge {
		s.waiting[it.key] = &it
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// makeRoom drops the oldest event that is not to be kept, for want of one the oldest of all if the new one is to be kept.
func (s *subscriber[T]) makeRoom(keep bool) bool {
	i := slices.IndexFunc(s.queue, func(it *item[T]) bool { return !it.keep })
	if i < 0 && !keep {
		return false
	}
	i = max(i, 0)
	if it := s.queue[i]; it.merge {
		delete(s.waiting, it.key)
	}
	s.queue = slices.Delete(s.queue, i, i+1)
	return true
}

func (s *subscriber[T]) pop() (v T, ok bool) {
	if len(s.queue) == 0 {
		return v, false
	}
	it := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	if it.merge {
		delete(s.waiting, it.key)
	}
	return it.value, true
}
