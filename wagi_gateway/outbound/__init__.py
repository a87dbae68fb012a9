"""What guests may call, and the calls themselves. Nothing in here knows WebAssembly."""
