import { expect, test } from "vitest"
import { clock, frameAt, stepped, timeOf } from "../../../web/js/viewer/playback.js"

test("a frame's time lies within it at the rates of film and television", () => {
  for (const rate of [24, 24000 / 1001, 29.97, 60])
    for (const frame of [0, 1, 23, 1000, 200_000]) expect(frameAt(timeOf(frame, rate), rate)).toBe(frame)
})

test("a time that the browser rounded down is still its frame's", () => {
  expect(frameAt(Math.floor(1e6 / 24) / 1e6, 24)).toBe(1)
})

test("steps stay within the film, also of one frame", () => {
  expect(stepped(timeOf(5, 24), 1, 24, 1)).toBeCloseTo(timeOf(6, 24))
  expect(stepped(timeOf(0, 24), -1, 24, 1)).toBeCloseTo(timeOf(0, 24))
  expect(stepped(timeOf(23, 24), 1, 24, 1)).toBeCloseTo(timeOf(23, 24))
  expect(stepped(0, 1, 24, 1 / 24)).toBeCloseTo(timeOf(0, 24))
})

test("times are written as players write them", () => {
  expect([0, 59.9, 61, 3600, 36_610].map(clock)).toEqual(["0:00", "0:59", "1:01", "1:00:00", "10:10:10"])
  expect(clock(NaN)).toBe("0:00") // of a film whose length is not known yet
})
