prelude
import Prover.Logic

/-!
# Simplification

What `simp`, `simp_all`, `dsimp` and `simpa` rest on: the congruence lemmas that the
simplifier looks up by name, then the rules of the default simp set. Rules are equations between propositions, so proofs
by `simp` rest on `propext`.
-/

set_option autoImplicit false
universe u v

/-! ## Lemmas that the simplifier looks up by name -/

theorem eq_true {p : Prop} (h : p) : p = True := propext ⟨fun _ => .intro, fun _ => h⟩
theorem eq_false {p : Prop} (h : ¬p) : p = False := propext ⟨h, False.elim⟩
theorem eq_false' {p : Prop} (h : p → False) : p = False := eq_false h
theorem of_eq_true {p : Prop} (h : p = True) : p := Eq.mpr h .intro
theorem of_eq_false {p : Prop} (h : p = False) : ¬p := fun k => Eq.mp h k
theorem eq_true_of_decide {p : Prop} [Decidable p] (h : decide p = Bool.true) : p = True :=
  eq_true (of_decide_eq_true h)
theorem eq_false_of_decide {p : Prop} [Decidable p] (h : decide p = Bool.false) : p = False :=
  eq_false (of_decide_eq_false h)
theorem id_eq_self {α : Sort u} (a : α) : id a = a := rfl

/-! ### Congruence -/

theorem implies_congr {p₁ p₂ : Sort u} {q₁ q₂ : Sort v} (h₁ : p₁ = p₂) (h₂ : q₁ = q₂) : (p₁ → q₁) = (p₂ → q₂) := by
  subst h₁; subst h₂; rfl

theorem implies_congr_left {p₁ p₂ : Sort u} {q : Sort v} (h : p₁ = p₂) : (p₁ → q) = (p₂ → q) := implies_congr h rfl

theorem implies_congr_right {p : Sort u} {q₁ q₂ : Sort v} (h : q₁ = q₂) : (p → q₁) = (p → q₂) := implies_congr rfl h

theorem implies_dep_congr_ctx {p₁ p₂ q₁ : Prop} (h₁ : p₁ = p₂) {q₂ : p₂ → Prop} (h₂ : (h : p₂) → q₁ = q₂ h) :
    (p₁ → q₁) = ((h : p₂) → q₂ h) := by
  subst h₁
  exact propext ⟨fun f h => Eq.mp (h₂ h) (f h), fun f h => Eq.mpr (h₂ h) (f h)⟩

theorem implies_congr_ctx {p₁ p₂ q₁ q₂ : Prop} (h₁ : p₁ = p₂) (h₂ : p₂ → q₁ = q₂) : (p₁ → q₁) = (p₂ → q₂) :=
  implies_dep_congr_ctx h₁ h₂

theorem forall_congr {α : Sort u} {p q : α → Prop} (h : ∀ a, p a = q a) : (∀ a, p a) = (∀ a, q a) :=
  propext ⟨fun f a => Eq.mp (h a) (f a), fun f a => Eq.mpr (h a) (f a)⟩

theorem forall_prop_domain_congr {p₁ p₂ : Prop} {q : p₁ → Prop} (h : p₁ = p₂) :
    (∀ a : p₁, q a) = (∀ a : p₂, q (Eq.mpr h a)) := by
  subst h; rfl

theorem forall_prop_congr_dom {p₁ p₂ : Prop} (h : p₁ = p₂) (q : p₁ → Prop) :
    (∀ a : p₁, q a) = (∀ a : p₂, q (Eq.mpr h a)) := by
  subst h; rfl

theorem pi_congr {α : Sort u} {β β' : α → Sort v} (h : ∀ a, β a = β' a) : ((a : α) → β a) = ((a : α) → β' a) := by
  have e : β = β' := funext h
  subst e; rfl

@[congr] theorem exists_congr_eq {α : Sort u} {p q : α → Prop} (h : ∀ a, p a = q a) : (∃ a, p a) = (∃ a, q a) := by
  have e : p = q := funext h
  subst e; rfl

theorem let_congr {α : Sort u} {β : Sort v} {a a' : α} {b b' : α → β} (h₁ : a = a') (h₂ : ∀ x, b x = b' x) :
    b a = b' a' := by
  subst h₁; exact h₂ a

/-! ### Conditionals -/

theorem ite_cond_eq_true {α : Sort u} {c : Prop} {d : Decidable c} (a b : α) (h : c = True) :
    (@ite α c d a b) = a := by
  cases d with
  | isTrue k => rfl
  | isFalse k => exact absurd (of_eq_true h) k

theorem ite_cond_eq_false {α : Sort u} {c : Prop} {d : Decidable c} (a b : α) (h : c = False) :
    (@ite α c d a b) = b := by
  cases d with
  | isTrue k => exact absurd k (of_eq_false h)
  | isFalse k => rfl

theorem dite_cond_eq_true {α : Sort u} {c : Prop} {d : Decidable c} {t : c → α} {e : ¬c → α} (h : c = True) :
    (@dite α c d t e) = t (of_eq_true h) := by
  cases d with
  | isTrue k => rfl
  | isFalse k => exact absurd (of_eq_true h) k

theorem dite_cond_eq_false {α : Sort u} {c : Prop} {d : Decidable c} {t : c → α} {e : ¬c → α} (h : c = False) :
    (@dite α c d t e) = e (of_eq_false h) := by
  cases d with
  | isTrue k => exact absurd k (of_eq_false h)
  | isFalse k => rfl

theorem if_pos {c : Prop} {d : Decidable c} (h : c) {α : Sort u} {t e : α} : (@ite α c d t e) = t :=
  ite_cond_eq_true t e (eq_true h)

theorem if_neg {c : Prop} {d : Decidable c} (h : ¬c) {α : Sort u} {t e : α} : (@ite α c d t e) = e :=
  ite_cond_eq_false t e (eq_false h)

theorem dif_pos {c : Prop} {d : Decidable c} (h : c) {α : Sort u} {t : c → α} {e : ¬c → α} :
    (@dite α c d t e) = t h := dite_cond_eq_true (eq_true h)

theorem dif_neg {c : Prop} {d : Decidable c} (h : ¬c) {α : Sort u} {t : c → α} {e : ¬c → α} :
    (@dite α c d t e) = e h := dite_cond_eq_false (eq_false h)

@[congr] theorem ite_congr {α : Sort u} {b c : Prop} {x y u v : α} {s : Decidable b} [t : Decidable c] (h₁ : b = c)
    (h₂ : c → x = u) (h₃ : ¬c → y = v) : (@ite α b s x y) = (@ite α c t u v) := by
  subst h₁
  cases t with
  | isTrue k => rw [if_pos k, if_pos k]; exact h₂ k
  | isFalse k => rw [if_neg k, if_neg k]; exact h₃ k

theorem ite_eq_left_of_eq_true {α : Sort u} {c : Prop} {d : Decidable c} (a b : α) (h : c = True) :
    (@ite α c d a b) = a := ite_cond_eq_true a b h
theorem ite_eq_right_of_eq_false {α : Sort u} {c : Prop} {d : Decidable c} (a b : α) (h : c = False) :
    (@ite α c d a b) = b := ite_cond_eq_false a b h
theorem dite_eq_left_of_eq_true {α : Sort u} {c : Prop} {d : Decidable c} {t : c → α} {e : ¬c → α} (h : c = True) :
    (@dite α c d t e) = t (of_eq_true h) := dite_cond_eq_true h
theorem dite_eq_right_of_eq_false {α : Sort u} {c : Prop} {d : Decidable c} {t : c → α} {e : ¬c → α} (h : c = False) :
    (@dite α c d t e) = e (of_eq_false h) := dite_cond_eq_false h

/-! ## The default simp set -/

/-! ### Equality and equivalence -/

@[simp] theorem eq_self {α : Sort u} (a : α) : (a = a) = True := eq_true rfl
@[simp] theorem heq_self {α : Sort u} (a : α) : (HEq a a) = True := eq_true HEq.rfl
@[simp] theorem iff_self (p : Prop) : (p ↔ p) = True := eq_true Iff.rfl
@[simp] theorem id_eq {α : Sort u} (a : α) : id a = a := rfl
@[simp] theorem ne_eq {α : Sort u} (a b : α) : (a ≠ b) = ¬(a = b) := rfl

/-! ### Connectives -/

@[simp] theorem not_true_eq_false : (¬True) = False := eq_false fun h => h .intro
@[simp] theorem not_false_eq_true : (¬False) = True := eq_true id
@[simp] theorem not_not_eq (p : Prop) : (¬¬p) = p := propext Classical.not_not
@[simp] theorem and_self (p : Prop) : (p ∧ p) = p := propext ⟨fun h => h.1, fun h => ⟨h, h⟩⟩
@[simp] theorem and_true (p : Prop) : (p ∧ True) = p := propext ⟨fun h => h.1, fun h => ⟨h, .intro⟩⟩
@[simp] theorem true_and (p : Prop) : (True ∧ p) = p := propext ⟨fun h => h.2, fun h => ⟨.intro, h⟩⟩
@[simp] theorem and_false (p : Prop) : (p ∧ False) = False := eq_false fun h => h.2
@[simp] theorem false_and (p : Prop) : (False ∧ p) = False := eq_false fun h => h.1
@[simp] theorem or_self (p : Prop) : (p ∨ p) = p := propext ⟨fun h => h.elim id id, .inl⟩
@[simp] theorem or_true (p : Prop) : (p ∨ True) = True := eq_true (.inr .intro)
@[simp] theorem true_or (p : Prop) : (True ∨ p) = True := eq_true (.inl .intro)
@[simp] theorem or_false (p : Prop) : (p ∨ False) = p := propext ⟨fun h => h.elim id False.elim, .inl⟩
@[simp] theorem false_or (p : Prop) : (False ∨ p) = p := propext ⟨fun h => h.elim False.elim id, .inr⟩
@[simp] theorem iff_true (p : Prop) : (p ↔ True) = p := propext ⟨fun h => h.mpr .intro, fun h => ⟨fun _ => .intro, fun _ => h⟩⟩
@[simp] theorem true_iff (p : Prop) : (True ↔ p) = p := propext ⟨fun h => h.mp .intro, fun h => ⟨fun _ => h, fun _ => .intro⟩⟩
@[simp] theorem iff_false (p : Prop) : (p ↔ False) = ¬p := propext ⟨fun h => h.mp, fun h => ⟨h, False.elim⟩⟩
@[simp] theorem false_iff (p : Prop) : (False ↔ p) = ¬p := propext ⟨fun h => h.mpr, fun h => ⟨False.elim, h⟩⟩
@[simp] theorem false_implies (p : Prop) : (False → p) = True := eq_true False.elim
@[simp] theorem true_implies (p : Prop) : (True → p) = p := propext ⟨fun h => h .intro, fun h _ => h⟩
@[simp] theorem implies_true (α : Sort u) : (α → True) = True := eq_true fun _ => .intro
@[simp] theorem imp_self (p : Prop) : (p → p) = True := eq_true id
@[simp] theorem imp_false (p : Prop) : (p → False) = ¬p := rfl
@[simp] theorem and_not_self (p : Prop) : (p ∧ ¬p) = False := eq_false fun h => h.2 h.1
@[simp] theorem not_and_self (p : Prop) : (¬p ∧ p) = False := eq_false fun h => h.1 h.2
@[simp] theorem not_or_eq (p q : Prop) : (¬(p ∨ q)) = (¬p ∧ ¬q) := propext not_or
@[simp] theorem not_and_eq (p q : Prop) : (¬(p ∧ q)) = (p → ¬q) := propext not_and
@[simp] theorem and_imp_eq (p q r : Prop) : (p ∧ q → r) = (p → q → r) :=
  propext ⟨fun h a b => h ⟨a, b⟩, fun h k => h k.1 k.2⟩

/-! ### Quantifiers -/

@[simp] theorem exists_eq {α : Sort u} (a : α) : (∃ x, x = a) = True := eq_true ⟨a, rfl⟩

@[simp] theorem exists_const (α : Sort u) [h : Nonempty α] (p : Prop) : (∃ _ : α, p) = p := by
  apply propext
  constructor
  · rintro ⟨_, k⟩; exact k
  · intro k
    cases h with
    | intro a => exact ⟨a, k⟩

@[simp] theorem not_exists_eq {α : Sort u} (p : α → Prop) : (¬∃ x, p x) = ∀ x, ¬p x := propext not_exists
@[simp] theorem not_forall_eq {α : Sort u} (p : α → Prop) : (¬∀ x, p x) = ∃ x, ¬p x := propext Classical.not_forall

/-! ### Conditionals -/

@[simp] theorem ite_true {α : Sort u} (a b : α) : (if True then a else b) = a := rfl
@[simp] theorem ite_false {α : Sort u} (a b : α) : (if False then a else b) = b := rfl
