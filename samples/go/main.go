// Site is an ordinary net/http program that answers one request through net/http/cgi.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"os"
	"strings"
)

func main() {
	// The handler sees the whole path, so the patterns begin with the module's own route.
	route := strings.TrimSuffix(os.Getenv("SCRIPT_NAME"), "/")
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+route+"/", show)
	mux.HandleFunc("POST "+route+"/", echo)

	if err := cgi.Serve(mux); err != nil {
		log.Fatal(err)
	}
}

func show(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "path:  %s\n", r.URL.Path)
	fmt.Fprintf(w, "query: %s\n", r.URL.RawQuery)
	fmt.Fprintf(w, "name:  %s\n", r.FormValue("name"))
}

// echo copies the body through a small buffer: its size does not matter.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	if _, err := io.Copy(w, r.Body); err != nil {
		log.Print(err)
	}
}
