"""The cold calls: status, metadata, health. Bytes in, bytes out, no transport."""
