<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Something broke · Enjambre</title>
<link rel="icon" href="/assets/logo.svg" type="image/svg+xml">
<link rel="stylesheet" href="<?= $e($stylesheet) ?>">
</head>
<body>
<main id="content" class="narrow">
  <p class="figure"><b>500</b></p>
  <h1>Something broke</h1>
  <p class="lead">PHP could not make this page (<?= $e($kind) ?>). The log knows more.</p>
  <p><a class="button" href="/">Back to the hive</a></p>
</main>
</body>
</html>
