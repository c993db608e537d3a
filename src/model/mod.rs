//! Model shapes: layers, heads, bytes, FLOPs.
