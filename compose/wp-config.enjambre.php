<?php

/**
 * WordPress behind fpm-gateway: put this beside wp-config.php, whose place for database and keys it takes, and begin
 * wp-config.php with
 *
 *   require __DIR__ . '/wp-config.enjambre.php';
 *
 * The gateway says with every request which Galera node to write to, which to read from and which memcached servers
 * there are ($_SERVER). Without it (wp-cli, cron) the environment says so. What is a secret is read from NAME, from the
 * file that NAME_FILE names, or from /run/secrets/name in lower case:
 *
 *   DB_NAME, DB_USER, DB_PASSWORD, DB_CHARSET, DB_COLLATE   the database
 *   DB_NODES                host:port,…        its nodes, for when there is no gateway
 *   MEMCACHED_NODES         host:port,…        the same for memcached
 *   MEMCACHE_PREFIX                            of this site's keys; the database's name if it is not set
 *   WORDPRESS_SECRET                           from which all keys and salts are made; required
 *   WORDPRESS_PROXIES       10.0.0.1,…         addresses of proxies in front, where the web server is not web-proxy
 *   WORDPRESS_UPLOADS                          the folder of uploads, relative to WordPress
 *
 * What wp-config.php has defined before stays.
 */

(static function (): void {
    $value = static function (string $name): ?string {
        $value = getenv($name);
        if ($value !== false && $value !== '') {
            return $value;
        }
        $file = getenv($name . '_FILE') ?: '/run/secrets/' . strtolower($name);
        return is_file($file) && is_readable($file) ? rtrim((string) file_get_contents($file), "\r\n") : null;
    };
    $list = static fn (?string $text): array
        => array_values(array_filter(array_map('trim', explode(',', (string) $text)), static fn ($part) => $part !== ''));
    $set = static function (string $name, mixed $value): void {
        if ($value !== null && !defined($name)) {
            define($name, $value);
        }
    };

    // --- the database ---

    $set('DB_NAME', $value('DB_NAME'));
    $set('DB_USER', $value('DB_USER'));
    $set('DB_PASSWORD', $value('DB_PASSWORD'));
    $set('DB_CHARSET', $value('DB_CHARSET') ?? 'utf8mb4');
    $set('DB_COLLATE', $value('DB_COLLATE') ?? '');
    $writer = $_SERVER['GALERA_WRITER'] ?? null;
    $readers = $list($_SERVER['GALERA_READERS'] ?? null);
    if ($writer === null || $writer === '') {
        $nodes = $list($value('DB_NODES')) ?: ['127.0.0.1:3306'];
        $writer = $nodes[0];
        $readers = [$writer];
        // Without a gateway nobody has asked them: the first that takes statements.
        foreach (count($nodes) > 1 ? $nodes : [] as $node) {
            preg_match('/^\[?(.+?)\]?(?::(\d+))?$/', $node, $part);
            $asked = mysqli_init();
            $asked->options(MYSQLI_OPT_CONNECT_TIMEOUT, 2);
            try {
                $port = (int) ($part[2] ?? 3306);
                if (!@$asked->real_connect($part[1], $value('DB_USER'), $value('DB_PASSWORD'), null, $port)) {
                    continue;
                }
                $is_on = static fn (string $show): bool => ($asked->query($show)->fetch_row()[1] ?? '') === 'ON';
                // A server without Galera, or a node that takes statements.
                $ready = !$is_on("SHOW GLOBAL VARIABLES LIKE 'wsrep_on'")
                    || $is_on("SHOW GLOBAL STATUS LIKE 'wsrep_ready'");
            } catch (mysqli_sql_exception) {
                continue;
            }
            if ($ready) {
                $writer = $node;
                $readers = [$node];
                break;
            }
        }
    }
    $set('DB_HOST', $writer);
    // For drop-ins that read elsewhere than they write (HyperDB, LudicrousDB).
    $set('DB_READERS', $readers);

    // --- the cache ---

    // Set and empty: the gateway knows that there is none. Not set: there is no gateway. The usual drop-ins read these.
    $servers = $_SERVER['MEMCACHED_SERVERS'] ?? $value('MEMCACHED_NODES');
    if ($servers !== null) {
        $GLOBALS['memcached_servers'] = ['default' => $list($servers)];
    }
    $set('WP_CACHE_KEY_SALT', $value('MEMCACHE_PREFIX') ?? $value('DB_NAME'));

    // --- behind proxies ---

    // web-proxy has turned what proxies say into REMOTE_ADDR and HTTPS. Another web server may not.
    $proxies = $list($value('WORDPRESS_PROXIES'));
    if ($proxies && in_array($_SERVER['REMOTE_ADDR'] ?? '', $proxies, true)) {
        if (strtolower($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '') === 'https') {
            $_SERVER['HTTPS'] = 'on';
        }
        // The last address that no proxy of ours has.
        $hops = array_diff(array_reverse($list($_SERVER['HTTP_X_FORWARDED_FOR'] ?? null)), $proxies);
        $client = reset($hops);
        if ($client !== false && filter_var($client, FILTER_VALIDATE_IP)) {
            $_SERVER['REMOTE_ADDR'] = $client;
        }
    }

    // --- files and secrets ---

    $set('UPLOADS', $value('WORDPRESS_UPLOADS'));
    $secret = $value('WORDPRESS_SECRET');
    if ($secret !== null) {
        foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $name) {
            foreach (['KEY', 'SALT'] as $kind) {
                $set("{$name}_$kind", hash_hmac('sha256', "{$name}_$kind", $secret));
            }
        }
    }
})();
