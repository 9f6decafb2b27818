<?php

/**
 * @file
 * Drupal behind fpm-gateway: put this beside settings.php and end settings.php with
 *
 *   include __DIR__ . '/settings.enjambre.php';
 *
 * The gateway says with every request which Galera node to write to, which to read from and which memcached servers
 * there are ($_SERVER). Without it (drush, cron, a console) the environment says so. What is a secret is read from
 * NAME, from the file that NAME_FILE names, or from /run/secrets/name in lower case:
 *
 *   DB_NAME, DB_USER, DB_PASSWORD, DB_PREFIX   the database
 *   DB_NODES                host:port,…        its nodes, for when there is no gateway
 *   MEMCACHED_NODES         host:port,…        the same for memcached
 *   MEMCACHE_PREFIX                            of this site's keys; the database's name if it is not set
 *   DRUPAL_HASH_SALT                           required
 *   DRUPAL_TRUSTED_HOSTS    example.org,…      hosts that the site answers to
 *   DRUPAL_PROXIES          10.0.0.0/8,…       proxies in front, where the web server is not web-proxy
 *   DRUPAL_PUBLIC_FILES, DRUPAL_PRIVATE_FILES, DRUPAL_TEMPORARY_FILES, DRUPAL_CONFIG
 *
 * What settings.php says before the include stays where the environment says nothing.
 */

(function () use (&$databases, &$settings, &$config, &$class_loader, &$app_root): void {
  $value = static function (string $name): ?string {
    $value = getenv($name);
    if ($value !== FALSE && $value !== '') {
      return $value;
    }
    $file = getenv($name . '_FILE') ?: '/run/secrets/' . strtolower($name);
    return is_file($file) && is_readable($file) ? rtrim((string) file_get_contents($file), "\r\n") : NULL;
  };
  $list = static fn (?string $text): array
    => array_values(array_filter(array_map('trim', explode(',', (string) $text)), static fn ($part) => $part !== ''));
  // "host:port", or "[address]:port" for IPv6.
  $split = static fn (string $node, int $port): array
    => preg_match('/^\[([^]]+)\](?::(\d+))?$|^([^:]+)(?::(\d+))?$/', $node, $part)
      ? [($part[1] ?? '') ?: ($part[3] ?? ''), (int) (($part[2] ?? '') ?: ($part[4] ?? '')) ?: $port]
      : [$node, $port];

  // --- the database ---

  $name = $value('DB_NAME');
  if ($name !== NULL) {
    $writer = $_SERVER['GALERA_WRITER'] ?? NULL;
    $readers = $list($_SERVER['GALERA_READERS'] ?? NULL);
    $login = [$value('DB_USER') ?? '', $value('DB_PASSWORD') ?? ''];
    if ($writer === NULL || $writer === '') {
      $readers = [];
      $nodes = $list($value('DB_NODES')) ?: ['127.0.0.1:3306'];
      $writer = $nodes[0];
      // Without a gateway nobody has asked them: the first that takes statements.
      foreach (count($nodes) > 1 ? $nodes : [] as $node) {
        [$host, $port] = $split($node, 3306);
        try {
          $asked = new \PDO("mysql:host=$host;port=$port", ...$login, ...[[\PDO::ATTR_TIMEOUT => 2]]);
          $is_on = static fn (string $show): bool => $asked->query($show)->fetchColumn(1) === 'ON';
          // A server without Galera, or a node that takes statements.
          if (!$is_on("SHOW GLOBAL VARIABLES LIKE 'wsrep_on'") || $is_on("SHOW GLOBAL STATUS LIKE 'wsrep_ready'")) {
            $writer = $node;
            break;
          }
        }
        catch (\PDOException) {
          // The next one.
        }
      }
    }
    $node = static function (string $address) use ($split, $name, $login, $value): array {
      [$host, $port] = $split($address, 3306);
      return [
        'driver' => 'mysql',
        'namespace' => 'Drupal\\mysql\\Driver\\Database\\mysql',
        'autoload' => 'core/modules/mysql/src/Driver/Database/mysql/',
        'database' => $name,
        'username' => $login[0],
        'password' => $login[1],
        'prefix' => $value('DB_PREFIX') ?? '',
        'host' => $host,
        'port' => $port,
        'collation' => 'utf8mb4_general_ci',
        // What Drupal recommends, and what has fewer conflicts between nodes.
        'isolation_level' => 'READ COMMITTED',
        'pdo' => [\PDO::ATTR_TIMEOUT => 2],
      ];
    };
    $databases['default']['default'] = $node($writer);
    unset($databases['default']['replica']);
    foreach ($readers as $reader) {
      if ($reader !== $writer) {
        $databases['default']['replica'][] = $node($reader);
      }
    }
  }

  // --- the cache ---

  // Set and empty: the gateway knows that there is none. Not set: there is no gateway.
  $servers = $list($_SERVER['MEMCACHED_SERVERS'] ?? $value('MEMCACHED_NODES'));
  $root = $app_root ?? getcwd();
  $module = NULL;
  foreach (['modules/contrib/memcache', 'modules/memcache'] as $path) {
    if (is_file("$root/$path/memcache.services.yml")) {
      $module = $path;
      break;
    }
  }
  $installing = class_exists('Drupal\Core\Installer\InstallerKernel')
    && \Drupal\Core\Installer\InstallerKernel::installationAttempted();
  if ($servers && $module && !$installing && (extension_loaded('memcached') || extension_loaded('memcache'))) {
    $settings['memcache']['servers'] = array_fill_keys($servers, 'default');
    $settings['memcache']['bins'] = ['default' => 'default'];
    $settings['memcache']['key_prefix'] = $value('MEMCACHE_PREFIX') ?? $name ?? '';
    if (extension_loaded('memcached')) {
      $settings['memcache']['extension'] = 'Memcached';
      $settings['memcache']['options'] = [
        // A server that goes takes its own keys along and no others.
        \Memcached::OPT_DISTRIBUTION => \Memcached::DISTRIBUTION_CONSISTENT,
        \Memcached::OPT_LIBKETAMA_COMPATIBLE => TRUE,
        \Memcached::OPT_BINARY_PROTOCOL => FALSE,
        // One that is gone is in the list for a while: nobody is to wait for it.
        \Memcached::OPT_CONNECT_TIMEOUT => 100,
        \Memcached::OPT_POLL_TIMEOUT => 500,
        \Memcached::OPT_SERVER_FAILURE_LIMIT => 2,
        \Memcached::OPT_RETRY_TIMEOUT => 5,
      ];
    }
    // The service must be there, also before the module is enabled.
    if ($class_loader !== NULL) {
      $class_loader->addPsr4('Drupal\\memcache\\', "$root/$module/src");
    }
    $settings['container_yamls'][] = "$module/memcache.services.yml";
    $settings['cache']['default'] = 'cache.backend.memcache';
    // Forms in flight must outlive an eviction.
    $settings['cache']['bins']['form'] = 'cache.backend.database';
  }

  // --- behind proxies ---

  // web-proxy has turned what proxies say into REMOTE_ADDR, HTTPS and SERVER_PORT: there is nothing to believe any more.
  // Behind another web server it is up to Drupal.
  $proxies = $list($value('DRUPAL_PROXIES'));
  if ($proxies) {
    $settings['reverse_proxy'] = TRUE;
    $settings['reverse_proxy_addresses'] = $proxies;
  }
  foreach ($list($value('DRUPAL_TRUSTED_HOSTS')) as $host) {
    $settings['trusted_host_patterns'][] = '^' . preg_quote($host, '/') . '$';
  }

  // --- files and secrets ---

  $salt = $value('DRUPAL_HASH_SALT');
  if ($salt !== NULL) {
    $settings['hash_salt'] = $salt;
  }
  $paths = [
    'file_public_path' => 'DRUPAL_PUBLIC_FILES',
    'file_private_path' => 'DRUPAL_PRIVATE_FILES',
    'file_temp_path' => 'DRUPAL_TEMPORARY_FILES',
    'config_sync_directory' => 'DRUPAL_CONFIG',
  ];
  foreach ($paths as $setting => $variable) {
    $path = $value($variable);
    if ($path !== NULL) {
      $settings[$setting] = $path;
    }
  }
})();
