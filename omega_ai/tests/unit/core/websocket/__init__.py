"""The WebSocket engine, rule by rule."""
