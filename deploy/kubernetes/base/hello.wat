;; The smallest WAGI program: one write to standard output.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  ;; An iovec: where the text begins (8) and its length in bytes (38).
  (data (i32.const 0) "\08\00\00\00\26\00\00\00")
  (data (i32.const 8) "content-type: text/plain\n\nhello world\n")

  (func (export "_start")
    ;; File 1, one iovec at address 0; the number of bytes written goes to address 60.
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 60)))))
