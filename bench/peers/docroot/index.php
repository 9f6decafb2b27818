<?php
// What every front runs as its front controller.
$path = strtok($_SERVER['REQUEST_URI'], '?');
header('Content-Type: text/html; charset=UTF-8');
if ($path === '/large') {
    // 100 KiB in lines, as a page has them.
    echo str_repeat(str_repeat('x', 63) . "\n", 1600);
} elseif ($path === '/slow') {
    // A page that waits for its database: 20 ms in which the worker has nothing else to do.
    usleep(20000);
    echo "slow\n";
} else {
    echo "<!doctype html><title>Trivial</title><p>Hello.\n";
}
