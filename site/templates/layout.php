<?php
$places = ['/' => 'Home', '/articles' => 'Articles', '/lab' => 'Laboratory'];
?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title><?= $e($title === 'Enjambre' ? 'Enjambre: a PHP site that keeps answering' : "$title · Enjambre") ?></title>
<link rel="icon" href="/assets/logo.svg" type="image/svg+xml">
<link rel="stylesheet" href="<?= $e($stylesheet) ?>">
<script src="/assets/site.js" defer></script>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header class="top">
  <a class="brand" href="/"><img src="/assets/logo.svg" alt="" width="40" height="40"><span>Enjambre</span></a>
  <nav aria-label="Main">
<?php foreach ($places as $place => $name): ?>
    <a href="<?= $place ?>"<?= $path === $place || ($place !== '/' && str_starts_with($path, "$place/")) ? ' aria-current="page"' : '' ?>><?= $name ?></a>
<?php endforeach ?>
<?php if ($user === null): ?>
    <a class="button small" href="/login">Log in</a>
<?php else: ?>
    <a href="/me"<?= $path === '/me' ? ' aria-current="page"' : '' ?>><?= $e($user) ?></a>
    <form method="post" action="/logout"><input type="hidden" name="token" value="<?= $e($logoutToken) ?>"><button class="button small quiet">Log out</button></form>
<?php endif ?>
  </nav>
</header>
<main id="content">
<?= $body ?>
</main>
<footer class="bottom">
  <p>This page was made <time class="ago" datetime="<?= $made['at'] ?>"><?= $made['at'] ?></time> by PHP worker <?= $made['worker'] ?>, in <?= number_format($made['ms'], 1) ?> ms.</p>
  <p><a href="/whoami">What PHP sees</a> · <a href="/health">Health</a></p>
</footer>
</body>
</html>
