prelude
import Prover.Nat.AdvMultiplication3

/-!
# Natural numbers

Addition, multiplication, subtraction and order, proved from the definitions in `Prover.Foundation`, under the names and
with the statements of Lean's own library where it has them. The modules of `Nat/` hold them in the order of the Natural
Number Game, so that a theorem of the game can be given what comes before it and no more; here is what the game leaves out.
-/

set_option autoImplicit false

namespace Nat

/-! ## Subtraction, which stops at zero -/

theorem sub_zero (n : Nat) : n - 0 = n := rfl
theorem sub_succ (n m : Nat) : n - succ m = pred (n - m) := rfl
theorem pred_succ (n : Nat) : pred (succ n) = n := rfl

theorem zero_sub (n : Nat) : 0 - n = 0 := by
  induction n with
  | zero => rfl
  | succ n ih => rw [add_one, sub_succ, ih]; rfl

theorem succ_sub_succ (n m : Nat) : succ n - succ m = n - m := by
  induction m with
  | zero => rfl
  | succ m ih => rw [add_one, sub_succ, ih, sub_succ]

theorem sub_self (n : Nat) : n - n = 0 := by
  induction n with
  | zero => rfl
  | succ n ih => rw [add_one, succ_sub_succ, ih]

theorem add_sub_cancel (n m : Nat) : n + m - m = n := by
  induction m with
  | zero => rfl
  | succ m ih => rw [add_one, add_succ, succ_sub_succ, ih]

/-! ## Deciding order by `Nat.ble` -/

theorem le_of_ble_eq_true {n m : Nat} (h : Nat.ble n m = Bool.true) : n ≤ m := by
  induction n generalizing m with
  | zero => exact zero_le m
  | succ n ih =>
    cases m with
    | zero => cases h
    | succ m => exact succ_le_succ (ih h)

theorem ble_eq_true_of_le {n m : Nat} (h : n ≤ m) : Nat.ble n m = Bool.true := by
  induction n generalizing m with
  | zero => rfl
  | succ n ih =>
    cases m with
    | zero => exact (not_succ_le_zero n h).elim
    | succ m => exact ih (le_of_succ_le_succ h)

noncomputable instance decLe (n m : Nat) : Decidable (n ≤ m) :=
  @Bool.rec (fun c => Nat.ble n m = c → Decidable (n ≤ m))
    (fun h => .isFalse fun k => Bool.false_ne_true (h.symm.trans (ble_eq_true_of_le k)))
    (fun h => .isTrue (le_of_ble_eq_true h)) (Nat.ble n m) rfl

noncomputable instance decLt (n m : Nat) : Decidable (n < m) := decLe (n + 1) m

end Nat
