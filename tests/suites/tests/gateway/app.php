<?php
// What the tests ask of PHP: ?do=page&ms=20. Sleeping costs a worker and no processor, so that the number of workers is
// what bounds a pool, on any machine.
$ask = $_GET + ['do' => 'page', 'ms' => 0, 'behind' => 0];
header('X-Replica: ' . getenv('REPLICA'));
header('X-Worker: ' . getmypid());
header('Content-Type: text/plain');
switch ($ask['do']) {
    case 'page':
        usleep($ask['ms'] * 1000);
        echo 'page';
        if ($ask['behind']) {
            fastcgi_finish_request();
            usleep($ask['behind'] * 1000);
        }
        break;
    case 'stream':
        // A line each 20 ms.
        for ($line = 0; $line < $ask['ms'] / 20; $line++) {
            echo str_repeat('s', 1024), "\n";
            flush();
            usleep(20000);
        }
        break;
    case 'length':
        $length = 0;
        $hash = hash_init('md5');
        $input = fopen('php://input', 'rb');
        while (!feof($input)) {
            $piece = fread($input, 65536);
            $length += strlen($piece);
            hash_update($hash, $piece);
        }
        echo $length, ' ', hash_final($hash);
        break;
    case 'large':
        if (isset($ask['announced'])) {
            header('Content-Length: ' . (20 << 20));
        }
        for ($piece = 0; $piece < 320; $piece++) {
            echo str_repeat('0123456789abcdef', 4096);
        }
        break;
    case 'headers':
        for ($n = 0; $n < 12; $n++) {
            header("X-Long-$n: " . str_repeat('h', 1000));
        }
        echo strlen($_SERVER['HTTP_X_FIRST'] ?? ''), ' ', strlen($_SERVER['HTTP_X_SECOND'] ?? '');
        break;
    case 'missing':
        http_response_code(404);
        echo 'no such page';
        break;
    case 'cut':
        if (isset($ask['announced'])) {
            header('Content-Length: 200000');
        }
        echo str_repeat('c', 100000);
        flush();
        usleep(100000);
        posix_kill(getmypid(), 9);
        break;
    case 'server':
        foreach (['SCRIPT_FILENAME', 'SCRIPT_NAME', 'REQUEST_URI', 'QUERY_STRING', 'REQUEST_METHOD', 'HTTP_HOST',
            'REMOTE_ADDR'] as $name) {
            echo $name, '=', $_SERVER[$name] ?? '', "\n";
        }
        break;
}
