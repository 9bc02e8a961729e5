prelude
import Prover.Nat.Order4

/-! The world of order, all but its last levels. -/

set_option autoImplicit false
namespace Nat

theorem succ_le_succ {a b : Nat} (h : a ≤ b) : succ a ≤ succ b := by
  induction h with
  | refl => exact Nat.le.refl
  | step _ ih => exact Nat.le.step ih

theorem pred_le (n : Nat) : pred n ≤ n := by
  cases n with
  | zero => exact Nat.le.refl
  | succ n => exact le_succ n

theorem pred_le_pred {a b : Nat} (h : a ≤ b) : pred a ≤ pred b := by
  induction h with
  | refl => exact Nat.le.refl
  | step _ ih => exact le_trans ih (pred_le _)

theorem le_of_succ_le_succ {a b : Nat} (h : succ a ≤ succ b) : a ≤ b := pred_le_pred h
theorem not_succ_le_zero (n : Nat) (h : succ n ≤ 0) : False := by cases h

theorem not_succ_le_self (n : Nat) : ¬(succ n ≤ n) := by
  induction n with
  | zero => exact not_succ_le_zero 0
  | succ n ih => exact fun h => ih (le_of_succ_le_succ h)

theorem lt_irrefl (n : Nat) : ¬(n < n) := not_succ_le_self n
theorem lt_succ_self (n : Nat) : n < succ n := Nat.le.refl
theorem zero_lt_succ (n : Nat) : 0 < succ n := succ_le_succ (zero_le n)
theorem le_of_lt {a b : Nat} (h : a < b) : a ≤ b := le_trans (le_succ a) h
theorem lt_of_lt_of_le {a b c : Nat} (h : a < b) (k : b ≤ c) : a < c := le_trans h k
theorem lt_of_le_of_lt {a b c : Nat} (h : a ≤ b) (k : b < c) : a < c := le_trans (succ_le_succ h) k
theorem lt_trans {a b c : Nat} (h : a < b) (k : b < c) : a < c := lt_of_lt_of_le h (le_of_lt k)

theorem lt_or_ge (a b : Nat) : a < b ∨ b ≤ a := by
  induction a generalizing b with
  | zero =>
    cases b with
    | zero => exact .inr Nat.le.refl
    | succ b => exact .inl (succ_le_succ (zero_le b))
  | succ a ih =>
    cases b with
    | zero => exact .inr (zero_le _)
    | succ b => exact (ih b).elim (fun h => .inl (succ_le_succ h)) (fun h => .inr (succ_le_succ h))

theorem le_total (a b : Nat) : a ≤ b ∨ b ≤ a := (lt_or_ge a b).elim (fun h => .inl (le_of_lt h)) .inr

end Nat
