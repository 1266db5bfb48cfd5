// Age, sex and site as the network reads them; data/clinical_metadata.py does the same.

const SEXES = ["female", "male"];

// clinical: { age, sex, site } as text, "" or absent where unknown -> (F,) float32
export function encodeClinical(clinical, coding) {
  const codes = coding.columns.flatMap((column) => {
    const value = clinical[column] ?? "";
    if (column === "age") {
      return value === "" ? [0, 1] : [(Number(value) - coding.age_mean) / coding.age_sd, 0];
    }
    const words = column === "sex" ? SEXES : coding.sites;
    return [...words.map((word) => Number(word === value)), Number(!words.includes(value))];
  });
  return Float32Array.from(codes);
}
