<?php

/**
 * The front controller: every URL that is not a file arrives here.
 */

declare(strict_types=1);

use Enjambre\Site\Kernel;
use Enjambre\Site\Request;

// `php -S` asks a router script about files too: false hands them back to it.
if (PHP_SAPI === 'cli-server' && is_file(__DIR__ . rawurldecode(strtok($_SERVER['REQUEST_URI'], '?')))) {
    return false;
}

spl_autoload_register(static function (string $class): void {
    $prefix = 'Enjambre\\Site\\';
    if (str_starts_with($class, $prefix)) {
        $file = dirname(__DIR__) . '/src/' . strtr(substr($class, strlen($prefix)), '\\', '/') . '.php';
        if (is_file($file)) {
            require $file;
        }
    }
});

(new Kernel(__DIR__))->handle(Request::fromGlobals());
