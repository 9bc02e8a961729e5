prelude
import Prover.Logic

/-!
# Natural numbers

Addition, multiplication, subtraction and order, proved from the definitions in `Prover.Foundation`, under the names and
with the statements of Lean's own library.
-/

set_option autoImplicit false
universe u

instance instSubNat : Sub Nat := Sub.mk Nat.sub

attribute [default_instance 100] instOfNatNat

/-! `induction` and `cases` show `0` and `n + 1` instead of `Nat.zero` and `Nat.succ n`. -/

@[induction_eliminator] noncomputable def Nat.recAux {motive : Nat → Sort u} (zero : motive 0)
    (succ : ∀ n, motive n → motive (n + 1)) (t : Nat) : motive t :=
  @Nat.rec motive zero succ t

@[cases_eliminator] noncomputable def Nat.casesAuxOn {motive : Nat → Sort u} (t : Nat) (zero : motive 0)
    (succ : ∀ n, motive (n + 1)) : motive t :=
  @Nat.casesOn motive t zero succ

noncomputable instance instDecidableEqNat : DecidableEq Nat := Nat.decEq

namespace Nat

/-! ## Addition -/

theorem add_zero (n : Nat) : n + 0 = n := rfl
theorem add_succ (n m : Nat) : n + succ m = succ (n + m) := rfl
theorem add_one (n : Nat) : n + 1 = succ n := rfl
theorem succ_eq_add_one (n : Nat) : succ n = n + 1 := rfl

theorem zero_add (n : Nat) : 0 + n = n := by
  induction n with
  | zero => rfl
  | succ n ih => exact congrArg succ ih

theorem succ_add (n m : Nat) : succ n + m = succ (n + m) := by
  induction m with
  | zero => rfl
  | succ m ih => exact congrArg succ ih

theorem add_comm (n m : Nat) : n + m = m + n := by
  induction m with
  | zero => rw [zero_add, add_zero]
  | succ m ih =>
    show succ (n + m) = succ m + n
    rw [succ_add, ih]

theorem add_assoc (n m k : Nat) : n + m + k = n + (m + k) := by
  induction k with
  | zero => rfl
  | succ k ih => exact congrArg succ ih

theorem add_left_comm (n m k : Nat) : n + (m + k) = m + (n + k) := by
  rw [← add_assoc, add_comm n m, add_assoc]

theorem add_right_comm (n m k : Nat) : n + m + k = n + k + m := by
  rw [add_assoc, add_comm m k, add_assoc]

theorem succ.inj' {m n : Nat} (h : succ m = succ n) : m = n := by injection h

theorem succ_ne_zero (n : Nat) : succ n ≠ 0 := by intro h; cases h

theorem add_right_cancel {n m k : Nat} (h : n + m = k + m) : n = k := by
  induction m with
  | zero => exact h
  | succ m ih => exact ih (succ.inj' h)

theorem add_left_cancel {n m k : Nat} (h : n + m = n + k) : m = k := by
  rw [add_comm n m, add_comm n k] at h
  exact add_right_cancel h

/-! ## Multiplication -/

theorem mul_zero (n : Nat) : n * 0 = 0 := rfl
theorem mul_succ (n m : Nat) : n * succ m = n * m + n := rfl

theorem zero_mul (n : Nat) : 0 * n = 0 := by
  induction n with
  | zero => rfl
  | succ n ih => rw [add_one, mul_succ, ih]

theorem succ_mul (n m : Nat) : succ n * m = n * m + m := by
  induction m with
  | zero => rfl
  | succ m ih =>
    show succ n * m + succ n = n * m + n + succ m
    rw [ih, add_succ, add_succ, add_right_comm]

theorem mul_comm (n m : Nat) : n * m = m * n := by
  induction m with
  | zero => rw [mul_zero, zero_mul]
  | succ m ih => rw [add_one, mul_succ, succ_mul, ih]

theorem mul_one (n : Nat) : n * 1 = n := zero_add n
theorem one_mul (n : Nat) : 1 * n = n := by rw [mul_comm, mul_one]

theorem mul_add (a b c : Nat) : a * (b + c) = a * b + a * c := by
  induction c with
  | zero => rfl
  | succ c ih =>
    show a * (b + c) + a = a * b + (a * c + a)
    rw [ih, add_assoc]

theorem add_mul (a b c : Nat) : (a + b) * c = a * c + b * c := by
  rw [mul_comm, mul_add, mul_comm c a, mul_comm c b]

theorem left_distrib (a b c : Nat) : a * (b + c) = a * b + a * c := mul_add a b c
theorem right_distrib (a b c : Nat) : (a + b) * c = a * c + b * c := add_mul a b c

theorem mul_assoc (a b c : Nat) : a * b * c = a * (b * c) := by
  induction c with
  | zero => rfl
  | succ c ih =>
    show a * b * c + a * b = a * (b * c + b)
    rw [mul_add, ih]

theorem mul_left_comm (a b c : Nat) : a * (b * c) = b * (a * c) := by
  rw [← mul_assoc, mul_comm a b, mul_assoc]

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

/-! ## Order -/

protected inductive le (n : Nat) : Nat → Prop where
  | refl : Nat.le n n
  | step {m : Nat} (h : Nat.le n m) : Nat.le n (succ m)

end Nat

abbrev Nat.lt (a b : Nat) : Prop := Nat.le (a + 1) b

instance instLENat : LE Nat := LE.mk Nat.le
instance instLTNat : LT Nat := LT.mk Nat.lt

namespace Nat

theorem le_refl (n : Nat) : n ≤ n := Nat.le.refl
theorem le_succ (n : Nat) : n ≤ succ n := Nat.le.step Nat.le.refl

theorem le_trans {a b c : Nat} (h : a ≤ b) (k : b ≤ c) : a ≤ c := by
  induction k with
  | refl => exact h
  | step _ ih => exact Nat.le.step ih

theorem zero_le (n : Nat) : 0 ≤ n := by
  induction n with
  | zero => exact Nat.le.refl
  | succ n ih => exact Nat.le.step ih

theorem le_add_right (n k : Nat) : n ≤ n + k := by
  induction k with
  | zero => exact Nat.le.refl
  | succ k ih => exact Nat.le.step ih

theorem le_add_left (n k : Nat) : n ≤ k + n := by
  rw [add_comm]
  exact le_add_right n k

theorem exists_of_le {a b : Nat} (h : a ≤ b) : ∃ k, a + k = b := by
  induction h with
  | refl => exact ⟨0, rfl⟩
  | step _ ih => obtain ⟨k, e⟩ := ih; exact ⟨k + 1, congrArg succ e⟩

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

theorem le_antisymm {a b : Nat} (h : a ≤ b) (k : b ≤ a) : a = b := by
  induction a generalizing b with
  | zero =>
    cases b with
    | zero => rfl
    | succ b => exact (not_succ_le_zero b k).elim
  | succ a ih =>
    cases b with
    | zero => exact (not_succ_le_zero a h).elim
    | succ b => exact congrArg succ (ih (le_of_succ_le_succ h) (le_of_succ_le_succ k))

theorem add_le_add_right {a b : Nat} (h : a ≤ b) (k : Nat) : a + k ≤ b + k := by
  induction k with
  | zero => exact h
  | succ k ih => exact succ_le_succ ih

theorem add_le_add_left {a b : Nat} (h : a ≤ b) (k : Nat) : k + a ≤ k + b := by
  rw [add_comm k a, add_comm k b]
  exact add_le_add_right h k

theorem add_le_add {a b c d : Nat} (h : a ≤ b) (k : c ≤ d) : a + c ≤ b + d :=
  le_trans (add_le_add_right h c) (add_le_add_left k b)

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
