<?php
// What a script was run with, as JSON. `?respond=…` asks for a response with more to relay.
function value(string $bytes): string
{
    // JSON has no bytes, only text.
    return mb_check_encoding($bytes, 'UTF-8') ? $bytes : 'base64:' . base64_encode($bytes);
}

header('X-Script: ' . rawurlencode($_SERVER['SCRIPT_FILENAME'] ?? ''));
header('Content-Type: application/json');
parse_str($_SERVER['QUERY_STRING'] ?? '', $query);
switch ($query['respond'] ?? '') {
    case 'missing':
        http_response_code(404);
        break;
    case 'redirect':
        header('Location: /elsewhere?a=b', true, 302);
        break;
    case 'empty':
        http_response_code(204);
        break;
    case 'unchanged':
        header('ETag: "php"');
        http_response_code(304);
        break;
    case 'cookies':
        setcookie('a', '1');
        setcookie('b', '2', ['httponly' => true]);
        break;
    case 'cached':
        header('Cache-Control: max-age=60, public');
        header('Expires: Sun, 19 Nov 1978 05:00:00 GMT');
        header('Last-Modified: Wed, 01 Jan 2025 00:00:00 GMT');
        header('ETag: "1735689600"');
        header('Vary: Cookie');
        header('X-Content-Type-Options: nosniff');
        break;
    case 'error':
        http_response_code(500);
        break;
    case 'unavailable':
        header('Retry-After: 3');
        http_response_code(503);
        break;
}

$parameters = [];
foreach ($_SERVER as $name => $value) {
    if (is_string($value)) {
        $parameters[$name] = value($value);
    }
}
// What the workers' environment and the moment bring, and the client's port, which differs between connections.
foreach (array_keys(getenv()) as $name) {
    if (in_array($name, ['HOME', 'USER', 'PATH', 'TMPDIR', 'PWD', 'SHLVL', 'OLDPWD', '_'], true)) {
        unset($parameters[$name]);
    }
}
unset($parameters['REQUEST_TIME'], $parameters['REQUEST_TIME_FLOAT'], $parameters['REMOTE_PORT']);
$parameters['body'] = value(file_get_contents('php://input'));
$parameters['cwd'] = value(getcwd());
echo json_encode($parameters, JSON_UNESCAPED_SLASHES);
// Whatever script this stands in front of.
exit;
