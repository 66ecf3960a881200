// Which words of two answers differ.

const LONGEST = 600; // words and gaps of an answer that are compared: the table grows with their square

export function words(text) {
  return text.split(/(\s+)/).filter((part) => part !== "");
}

// Of each of both texts, its parts as [text, whether the other one has it]; what is longer is not told apart.
export function compared(one, other) {
  const [wholeA, wholeB] = [words(one), words(other)];
  const [a, b] = [wholeA.slice(0, LONGEST), wholeB.slice(0, LONGEST)];
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const [inA, inB] = [a.map((word) => [word, false]), b.map((word) => [word, false])];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) {
      inA[i++][1] = true;
      inB[j++][1] = true;
    } else if (common[i + 1][j] >= common[i][j + 1]) i++;
    else j++;
  }
  const rest = (whole) => [[whole.slice(LONGEST).join(""), true]];
  return [inA.concat(rest(wholeA)), inB.concat(rest(wholeB))];
}

export function show(element, parts) {
  element.replaceChildren(
    ...parts.map(([text, same]) => {
      if (same || text.trim() === "") return document.createTextNode(text);
      const mark = document.createElement("mark");
      mark.textContent = text;
      return mark;
    }),
  );
}
