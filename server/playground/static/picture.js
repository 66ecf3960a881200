// The picture: from a file, the clipboard, a camera or the demo, kept as its own bytes.

export async function fromFile(file, name) {
  const url = await read(file);
  // A format that this browser cannot show may still be one that the server takes.
  const bitmap = await createImageBitmap(file).catch(() => null);
  return { name: name ?? file.name ?? "picture", url, bitmap, shown: URL.createObjectURL(file) };
}

export async function fromServer(address, name) {
  const response = await fetch(address);
  return fromFile(await response.blob(), name);
}

// The first picture among what was dropped or pasted; else the first file, of which the server says what it is.
export function pictureIn(transfer) {
  const files = [...(transfer?.files ?? [])];
  return files.find((file) => file.type.startsWith("image/")) ?? files[0] ?? null;
}

function read(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
