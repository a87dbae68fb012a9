;; The command of a composed component: it hands the request of the environment to the handler.
(component
 (import "types" (instance $types
  (export "incoming-request" (type (sub resource)))
  (export "response-outparam" (type (sub resource)))))
 (alias export $types "incoming-request" (type $request))
 (alias export $types "response-outparam" (type $response))
 (import "exchange" (instance $exchange
  (alias outer 1 $request (type $in)) (alias outer 1 $response (type $out))
  (export "request" (func (result (own $in))))
  (export "response" (func (result (own $out))))
  (export "finish" (func (result (result))))))
 (import "handler" (instance $handler
  (alias outer 1 $request (type $in)) (alias outer 1 $response (type $out))
  (export "handle" (func (param "request" (own $in)) (param "response-out" (own $out))))))
 (core func $request (canon lower (func $exchange "request")))
 (core func $response (canon lower (func $exchange "response")))
 (core func $handle (canon lower (func $handler "handle")))
 (core func $finish (canon lower (func $exchange "finish")))
 (core module $Main
  (import "http" "request" (func $request (result i32)))
  (import "http" "response" (func $response (result i32)))
  (import "http" "handle" (func $handle (param i32 i32)))
  (import "http" "finish" (func $finish (result i32)))
  (func (export "run") (result i32)
   (call $handle (call $request) (call $response))
   (call $finish)))
 (core instance $main (instantiate $Main (with "http" (instance
  (export "request" (func $request)) (export "response" (func $response))
  (export "handle" (func $handle)) (export "finish" (func $finish))))))
 (func $run (result (result)) (canon lift (core func $main "run")))
 (instance $exported (export "run" (func $run)))
 (export "run" (instance $exported)))
