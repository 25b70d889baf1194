"use strict";
// The page's data come in script files (data/*.js), each of which calls `provide`; those that are not needed at once are
// loaded when somebody asks for them.

const waiting = new Map();
const provided = new Map();

// What the script of a section starts with its data, by the section's name; and what shows an address such as #clip=NAME, by
// its kind.
const starts = {};
const addresses = {};

function provide(name, value) {
  provided.set(name, value);
  if (waiting.has(name)) waiting.get(name).resolve(value);
}

function complain(text) {
  const message = document.createElement("p");
  message.className = "wrong";
  message.setAttribute("role", "alert");
  message.textContent = text;
  document.getElementById("content").prepend(message);
}

function script(file) {
  return new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = file;
    element.onload = resolve;
    element.onerror = () => {
      complain(`${file} is missing; make the report again`);
      reject(new Error(file));
    };
    document.head.append(element);
  });
}

function load(name) {
  if (provided.has(name)) return Promise.resolve(provided.get(name));
  if (!waiting.has(name)) {
    const entry = {};
    entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    waiting.set(name, entry);
    script(`data/${name}.js`).catch(entry.reject);
  }
  return waiting.get(name).promise;
}

// Of calls that overlap only the last may go on: `const isLast = turn()`, then after each wait `if (!isLast()) return`.
function turns() {
  let last = 0;
  return () => {
    last += 1;
    const mine = last;
    return () => mine === last;
  };
}

// Whole numbers as `encode_integers` in page_data.py writes them.
function decode({ bits, shape, data }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const values = new { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array }[bits](bytes.buffer);
  const width = shape.length > 1 ? shape[1] : 1;
  return { values, width, row: (number) => values.subarray(number * width, (number + 1) * width) };
}
