<?php

/**
 * Asks PHP-FPM's status listener for the status page, in FastCGI, and exits with 0 or 1.
 *
 * That listener has a process of its own: it answers while all workers are busy, and it does not while the master is gone.
 */

declare(strict_types=1);

const ADDRESS = 'tcp://127.0.0.1:9001';
const SECONDS = 3;

/** A record of the FastCGI protocol, for request 1. */
function record(int $type, string $content): string
{
    return pack('CCnnCx', 1, $type, 1, strlen($content), 0) . $content;
}

/** All names and values are shorter than 128 bytes here: one byte of length is enough. */
function pair(string $name, string $value): string
{
    return chr(strlen($name)) . chr(strlen($value)) . $name . $value;
}

function fail(string $why): never
{
    fwrite(STDOUT, "unhealthy: $why\n");
    exit(1);
}

$connection = @stream_socket_client(ADDRESS, $number, $message, SECONDS);
if ($connection === false) {
    fail("no connection: $message");
}
stream_set_timeout($connection, SECONDS);
$parameters = pair('REQUEST_METHOD', 'GET') . pair('SCRIPT_NAME', '/fpm-status')
    . pair('SCRIPT_FILENAME', '/fpm-status') . pair('QUERY_STRING', '');
// FCGI_BEGIN_REQUEST as a responder whose connection is closed, FCGI_PARAMS and its end, FCGI_STDIN's end.
fwrite($connection, record(1, pack('nCx5', 1, 0)) . record(4, $parameters) . record(4, '') . record(5, ''));

$output = '';
while (true) {
    $head = (string) stream_get_contents($connection, 8);
    if (strlen($head) < 8) {
        fail('no answer within ' . SECONDS . ' s, or a broken one');
    }
    ['type' => $type, 'length' => $length, 'padding' => $padding] = unpack('Cversion/Ctype/nid/nlength/Cpadding', $head);
    $content = $length + $padding > 0 ? (string) stream_get_contents($connection, $length + $padding) : '';
    if ($type === 6) { // FCGI_STDOUT
        $output .= substr($content, 0, $length);
    } elseif ($type === 3) { // FCGI_END_REQUEST
        break;
    }
}
if (preg_match('/^total processes:\s+(\d+)/m', $output, $found) !== 1 || (int) $found[1] === 0) {
    fail('this is no status page: ' . strtok($output, "\r\n"));
}
echo "healthy: $found[1] workers\n";
