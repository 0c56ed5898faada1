// How the files beside this were made: exceljs 4.4.0, xlsx (SheetJS) 0.18.5; TZ=UTC node make.js
const ExcelJS = require("exceljs"), XLSX = require("xlsx"), fs = require("fs");
const rows = [
  ["m1", "启动会", new Date(Date.UTC(2026, 2, 1)), null],
  ["m2", "一期上线", "2026年4月15日", new Date(Date.UTC(2026, 3, 20))],
  ["007", "验收", new Date(Date.UTC(2026, 11, 31)), "N/A"],
];
const head = ["code", "name", "planned_on", "accepted_on"];
(async () => {
  const book = new ExcelJS.Workbook(); const sheet = book.addWorksheet("里程碑", { views: [{ state: "frozen", ySplit: 1 }] });
  sheet.addRow(head); rows.forEach(r => sheet.addRow(r));
  sheet.getCell("A2").note = "a note of theirs"; sheet.getCell("B3").value = { richText: [{ text: "一期" }, { font: { bold: true }, text: "上线" }] };
  sheet.getCell("C4").value = { formula: "DATE(2026,12,31)", result: new Date(Date.UTC(2026, 11, 31)) };
  sheet.getColumn(3).numFmt = "yyyy-mm-dd";
  await book.xlsx.writeFile("exceljs.xlsx");
  const ws = XLSX.utils.aoa_to_sheet([head, ...rows], { cellDates: true, UTC: true, dateNF: "yyyy/m/d" });
  const wb = XLSX.utils.book_new(); XLSX.utils.book_append_sheet(wb, ws, "Sheet1");
  XLSX.writeFile(wb, "sheetjs.xlsx", { compression: true });
})();
