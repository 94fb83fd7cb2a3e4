"""The documents of the control API (docs/api.md) as frozen values: status, events, connections."""
