// A fast application of one page: 1 KiB at every path, and at /whoami the name that the proxy sent.
// It stands in where nginx is missing.
package main

import (
	"bytes"
	"log"
	"net/http"
	"os"
)

func main() {
	page := bytes.Repeat([]byte("x"), 1024)
	log.Fatal(http.ListenAndServe(os.Args[1], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		if r.URL.Path == "/whoami" {
			w.Write([]byte(r.Header.Get("Remote-User")))
			return
		}
		w.Write(page)
	})))
}
