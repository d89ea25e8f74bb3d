"""Time: shared-memory ring, face track, scene flow and sliding windows."""
