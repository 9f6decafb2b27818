<?php

declare(strict_types=1);

namespace Enjambre\Site;

/**
 * A honeycomb that a name determines: pixels in plain PHP, so that no image extension is needed.
 */
final class Picture
{
    private const WIDTH = 480;
    private const HEIGHT = 200;
    private const CELL = 30.0;

    public function __construct(private readonly string $name)
    {
    }

    /** As a PNG file. */
    public function png(): string
    {
        $palette = $this->palette();
        $colours = [];
        $rows = '';
        for ($y = 0; $y < self::HEIGHT; $y++) {
            $rows .= "\0"; // This row is not filtered.
            for ($x = 0; $x < self::WIDTH; $x++) {
                [$column, $row, $rim] = self::cellAt($x, $y);
                $cell = "$column,$row";
                $colours[$cell] ??= $palette[1 + crc32("$this->name:$cell") % (count($palette) - 1)];
                $rows .= $rim ? $palette[0] : $colours[$cell];
            }
        }
        return "\x89PNG\r\n\x1a\n"
            . self::chunk('IHDR', pack('NNCCCCC', self::WIDTH, self::HEIGHT, 8, 2, 0, 0, 0))
            . self::chunk('IDAT', (string) gzcompress($rows, 6))
            . self::chunk('IEND', '');
    }

    /** @return array{int, int, bool} the hexagon of a pixel in axial coordinates, and whether it is on its rim */
    private static function cellAt(int $x, int $y): array
    {
        $q = (sqrt(3) / 3 * $x - $y / 3) / self::CELL;
        $r = (2 / 3 * $y) / self::CELL;
        $column = round($q);
        $row = round($r);
        $third = round(-$q - $r);
        $offQ = abs($column - $q);
        $offR = abs($row - $r);
        $offS = abs($third + $q + $r);
        if ($offQ > $offR && $offQ > $offS) {
            $column = -$row - $third;
        } elseif ($offR > $offS) {
            $row = -$column - $third;
        }
        $dq = $q - $column;
        $dr = $r - $row;
        $distance = max(abs($dq - $dr), abs($dr + $dq + $dr), abs($dq + $dr + $dq));
        return [(int) $column, (int) $row, $distance > 0.93];
    }

    /** @return list<string> three bytes each; the first is the rim */
    private function palette(): array
    {
        $hue = 30 + crc32($this->name) % 5 * 6;
        $shades = [[0.20, 0.10], [0.85, 0.52], [0.90, 0.60], [0.80, 0.44], [0.88, 0.68], [0.45, 0.20], [0.35, 0.15]];
        return array_map(static fn (array $shade): string => self::colour($hue, ...$shade), $shades);
    }

    private static function colour(int $hue, float $saturation, float $lightness): string
    {
        $chroma = (1 - abs(2 * $lightness - 1)) * $saturation;
        $second = $chroma * (1 - abs(fmod($hue / 60, 2) - 1));
        $base = $lightness - $chroma / 2;
        // Hues between red and yellow only.
        $parts = [$chroma + $base, $second + $base, $base];
        return implode('', array_map(static fn (float $part): string => chr((int) round($part * 255)), $parts));
    }

    private static function chunk(string $type, string $data): string
    {
        return pack('N', strlen($data)) . $type . $data . pack('N', crc32($type . $data));
    }
}
