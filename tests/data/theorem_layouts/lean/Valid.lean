import Mathlib

/-! Many theorems in one file. A theorem named in a comment: theorem nothing : False. -/

set_option maxHeartbeats 400000

open Nat

/-- The first one. -/
theorem first_one (n : Nat) (h : n = 1) : 1 = n := by sorry

-- This one comes proved.
@[simp] theorem second_one (p : Prop) (h : p) : p := by
  have h2 : p := h
  exact h2

namespace Outer
section
variable (p : Prop)

theorem third (h : p) : p := by sorry

end

open Classical in
lemma fourth (q : Prop) (h : q) : q := by
  sorry

namespace Inner
theorem fifth (q : Prop) (h : q) : q := sorry
end Inner
end Outer

theorem last (n : Nat) (h : n = 2) : 2 = n := by
  rw [h]
