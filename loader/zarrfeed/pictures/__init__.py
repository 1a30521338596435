"""Pictures of arrays: images of any dtype as RGB, masks as colours, volumes as planes, PNG."""
