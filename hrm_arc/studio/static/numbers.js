// Numbers as people read them. What is not known is said in words.

export const UNKNOWN = "not known";

export const count = (value) => (value === null || value === undefined ? UNKNOWN : value.toLocaleString("en-US"));
export const counted = (value, plural) => `${count(value)} ${value === 1 ? plural.slice(0, -1) : plural}`;
export const percent = (value, digits = 1) =>
  value === null || value === undefined ? UNKNOWN : `${(100 * value).toFixed(digits)}%`;

const PREFIXES = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
export function prefixed(value, digits = 3) {
  for (const [size, letter] of PREFIXES) if (Math.abs(value) >= size) return `${short(value / size, digits)}${letter}`;
  return short(value, digits);
}

export const bytes = (value) => `${prefixed(value).replace(/(\D*)$/, " $1")}B`;

export function short(value, digits = 3) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(digits - 2).replace("e+", "e").replace(".0e", "e");
  return String(Number(value.toPrecision(digits)));
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  if (hours) return `${count(hours)} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}
