# Varnish with nothing but its built-in policy, plus BAN by tag as the Drupal handbook writes it.
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "@ORIGIN_PORT@";
    .max_connections = 10000;
}

sub vcl_recv {
    if (req.method == "BAN") {
        # On obj.*, so that the ban lurker works on it; each look-up tests what the lurker has not reached.
        ban("obj.http.Cache-Tag == " + req.http.Cache-Tags);
        return (synth(200, "Banned"));
    }
}
