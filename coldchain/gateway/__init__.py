"""nginx with Lua as data plane: rendering of its configuration, its process, and the pushing of rotations.

`render` makes the configuration out of settings alone (nothing of a definition gets into it), `process` starts, adopts
and stops nginx, `push` is the adapter of `ports.gateway.Gateway`, `remote_feed` that of
`ports.rotation_feed.RotationFeed` for a controller in another process, `several_feeds` for several, `key_source`
fetches the public keys of who issues tokens, `lua/` is what runs inside nginx. Rotations come from `control.gateway`;
requests come from consumers and go to instances.
"""
