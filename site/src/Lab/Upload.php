<?php

declare(strict_types=1);

namespace Enjambre\Site\Lab;

use Enjambre\Site\PublicFiles;
use Enjambre\Site\Request;
use Enjambre\Site\Response;
use Enjambre\Site\Site;

/**
 * `/upload` takes a form, `/upload/raw` a bare body. Both answer with the size and the SHA-256 of what arrived. What somebody
 * uploads who has logged in is kept, as bytes that no browser opens, under its hash.
 */
final class Upload
{
    private const CHUNK = 1 << 18;
    private const LARGEST_KEPT = 8 << 20;

    public function __construct(private readonly Site $site)
    {
    }

    public function form(Request $request): Response
    {
        return $this->page(null, null, 200);
    }

    public function receive(Request $request): Response
    {
        $file = $_FILES['file'] ?? null;
        $problem = match (is_array($file) ? $file['error'] : UPLOAD_ERR_NO_FILE) {
            UPLOAD_ERR_OK => null,
            UPLOAD_ERR_NO_FILE => 'No file arrived.',
            UPLOAD_ERR_INI_SIZE, UPLOAD_ERR_FORM_SIZE => 'The file is larger than PHP takes.',
            UPLOAD_ERR_PARTIAL => 'Only a part of the file arrived.',
            default => 'PHP could not keep the file.',
        };
        $received = $problem !== null ? null : [
            'name' => (string) $file['name'],
            'size' => (int) $file['size'],
            'sha256' => (string) hash_file('sha256', $file['tmp_name']),
            'kept' => $this->keep($request, $file),
        ];
        $status = $problem === null ? 200 : 422;
        if (str_contains($request->header('Accept') ?? '', 'application/json')) {
            return Response::json($received ?? ['problem' => $problem], $status);
        }
        return $this->page($received, $problem, $status);
    }

    public function receiveRaw(Request $request): Response
    {
        $body = fopen('php://input', 'rb');
        $hash = hash_init('sha256');
        $size = 0;
        while (!feof($body) && ($chunk = fread($body, self::CHUNK)) !== false) {
            $size += strlen($chunk);
            hash_update($hash, $chunk);
        }
        return Response::json([
            'method' => $request->method,
            'size' => $size,
            'sha256' => hash_final($hash),
            'content_length' => $request->server('CONTENT_LENGTH'),
            'peak_memory' => memory_get_peak_usage(true),
        ]);
    }

    /**
     * The path under which the file is found from now on; null if it is not kept.
     *
     * @param array{tmp_name: string, size: int} $file
     */
    private function keep(Request $request, array $file): ?string
    {
        $mayKeep = $file['size'] <= self::LARGEST_KEPT
            && $this->site->session()->exists()
            && $this->site->token()->accepts($request->field('token'), 'upload');
        if (!$mayKeep) {
            return null;
        }
        $content = (string) file_get_contents($file['tmp_name']);
        $path = '/files/uploads/' . hash('sha256', $content) . '.bin';
        return (new PublicFiles($this->site->docroot))->keep($path, $content) ? $path : null;
    }

    /** @param array<string, mixed>|null $received */
    private function page(?array $received, ?string $problem, int $status): Response
    {
        return Response::html($this->site->template()->page('upload', 'Upload', [
            'received' => $received,
            'problem' => $problem,
            'token' => $this->site->session()->exists() ? $this->site->token()->make('upload') : null,
        ]), $status);
    }
}
