// Go's own reverse proxy, with no login: what many authenticating proxies are built on.
// Usage: reverseproxy LISTEN UPSTREAM-URL
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

func main() {
	target, err := url.Parse(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	// The default keeps two idle connections to a host, which would cost it a connection for most requests.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 1024, 1024
	transport.Proxy = nil
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
	}
	log.Fatal(http.ListenAndServe(os.Args[1], proxy))
}
