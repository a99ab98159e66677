// A small PDF with text and a picture large enough that viewers ask for it by ranges.
import { randomBytes } from './site.mjs';

/** A PDF 1.4 with one page for each text, each page with the text in Helvetica; the last one with a large picture. */
export function pdf(texts) {
  const objects = [];
  const add = (dictionary, stream) => {
    objects.push(stream === undefined ? Buffer.from(dictionary)
      : Buffer.concat([Buffer.from(`${dictionary.replace(/>>$/, `/Length ${stream.length} >>`)}\nstream\n`), stream, Buffer.from('\nendstream')]));
    return objects.length;
  };
  const [width, height] = [600, 400];
  const pagesAt = 2;
  add('<< /Type /Catalog /Pages 2 0 R >>');
  add('');
  const font = add('<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>');
  const picture = add(`<< /Type /XObject /Subtype /Image /Width ${width} /Height ${height} /ColorSpace /DeviceRGB /BitsPerComponent 8 >>`, randomBytes(width * height * 3, 'picture'));
  const kids = texts.map((text, i) => {
    const drawn = i === texts.length - 1 ? 'q 300 0 0 200 100 300 cm /P Do Q' : '';
    const content = add('<< >>', Buffer.from(`BT /F 36 Tf 72 700 Td (${text}) Tj ET ${drawn}`));
    return add(`<< /Type /Page /Parent ${pagesAt} 0 R /MediaBox [0 0 595 842] /Contents ${content} 0 R /Resources << /Font << /F ${font} 0 R >> /XObject << /P ${picture} 0 R >> >> >>`);
  });
  objects[pagesAt - 1] = Buffer.from(`<< /Type /Pages /Count ${kids.length} /Kids [${kids.map(kid => `${kid} 0 R`).join(' ')}] >>`);

  const parts = [Buffer.from('%PDF-1.4\n')];
  let at = parts[0].length;
  const table = objects.map((object, i) => {
    const part = Buffer.concat([Buffer.from(`${i + 1} 0 obj\n`), object, Buffer.from('\nendobj\n')]);
    const line = `${String(at).padStart(10, '0')} 00000 n \n`;
    parts.push(part);
    at += part.length;
    return line;
  });
  parts.push(Buffer.from(`xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${table.join('')}trailer\n<< /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${at}\n%%EOF\n`));
  return Buffer.concat(parts);
}
