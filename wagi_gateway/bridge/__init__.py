"""Components of `wasi:http/proxy@0.2` as command components: a bridge is composed around them."""
