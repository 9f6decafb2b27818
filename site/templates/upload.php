<div class="narrow">
  <h1>Upload</h1>
  <p class="lead">A file of any size passes through all three services in small pieces; PHP answers with what arrived.</p>
<?php if ($problem !== null): ?>
  <p class="notice bad" role="alert"><?= $e($problem) ?></p>
<?php endif ?>
<?php if ($received !== null): ?>
  <dl class="notice good" role="status">
    <dt>Name</dt><dd id="name"><?= $e($received['name']) ?></dd>
    <dt>Size</dt><dd><span id="size"><?= $e($received['size']) ?></span> bytes</dd>
    <dt>SHA-256</dt><dd id="sha256"><?= $e($received['sha256']) ?></dd>
<?php if ($received['kept'] !== null): ?>
    <dt>Kept as</dt><dd><a id="kept" href="<?= $e($received['kept']) ?>"><?= $e($received['kept']) ?></a></dd>
<?php endif ?>
  </dl>
<?php endif ?>
  <form class="form" method="post" action="/upload" enctype="multipart/form-data">
<?php if ($token !== null): ?>
    <input type="hidden" name="token" value="<?= $e($token) ?>">
<?php endif ?>
    <label for="file">File</label>
    <input id="file" name="file" type="file" required>
    <button class="button">Send</button>
  </form>
</div>
