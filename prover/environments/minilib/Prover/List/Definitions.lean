prelude
import Prover.Nat.Order6

/-!
# Lists

The type of lists, its notation and its first functions, with the equations that define them: what there is before
anything is proved about lists. Names and statements are those of Lean's own library where it has them. The root module
`Prover` does not import this one: a theorem on lists names it in its header, and no other theorem has lists at hand.
-/

set_option autoImplicit false
universe u v w

inductive List (α : Type u) where
  | nil : List α
  | cons (head : α) (tail : List α) : List α

/-! ## Notation: `[]`, `[a, b]`, `x :: xs`, `xs ++ ys` -/

class HAppend (α : Type u) (β : Type v) (γ : outParam (Type w)) where
  hAppend : α → β → γ
class Append (α : Type u) where
  append : α → α → α

@[default_instance] instance instHAppendOfAppend {α : Type u} [Append α] : HAppend α α α :=
  HAppend.mk (fun a b => Append.append a b)

open Lean

@[term_parser 1000, extern "x"] def «term[_]» : ParserDescr := compiled
@[macro «term[_]», extern "x"] def Lean.«_aux_Init_Data_List_Notation___macroRules_term[_]_1» : Macro := compiledMacro
@[app_unexpander List.nil, extern "x"] def unexpandListNil : PrettyPrinter.Unexpander := compiledUnexpander
@[term_parser 1000, extern "x"] def «term_::_» : TrailingParserDescr := compiled
@[macro «term_::_», extern "x"] def «_aux_Init_Notation___macroRules_term_::__1» : Macro := compiledMacro
@[app_unexpander List.cons, extern "x"] def _aux_Init_Notation___unexpand_List_cons_1 : PrettyPrinter.Unexpander := compiledUnexpander
-- After the one above, so that it is asked first: `[x]` and not `x :: []`.
@[app_unexpander List.cons, extern "x"] def unexpandListCons : PrettyPrinter.Unexpander := compiledUnexpander
@[term_parser 1000, extern "x"] def «term_++_» : TrailingParserDescr := compiled
@[macro «term_++_», extern "x"] def «_aux_Init_Notation___macroRules_term_++__1» : Macro := compiledMacro
@[macro «term_++_», extern "x"] def «_aux_Init_Notation___macroRules_term_++__2» : Macro := compiledMacro
@[app_unexpander HAppend.hAppend, extern "x"] def _aux_Init_Notation___unexpand_HAppend_hAppend_1 : PrettyPrinter.Unexpander := compiledUnexpander

/-! ## Functions -/

namespace List

variable {α : Type u} {β : Type v}

noncomputable def append (xs ys : List α) : List α := match xs with
  | nil => ys
  | cons x xs => cons x (append xs ys)

noncomputable instance instAppendList : Append (List α) := Append.mk append

noncomputable def length (xs : List α) : Nat := match xs with
  | nil => 0
  | cons _ xs => length xs + 1

noncomputable def reverse (xs : List α) : List α := match xs with
  | nil => []
  | cons x xs => reverse xs ++ [x]

noncomputable def map (f : α → β) (xs : List α) : List β := match xs with
  | nil => []
  | cons x xs => f x :: map f xs

noncomputable def filter (p : α → Bool) (xs : List α) : List α := match xs with
  | nil => []
  | cons x xs => cond (p x) (x :: filter p xs) (filter p xs)

noncomputable def take (n : Nat) (xs : List α) : List α := match n, xs with
  | Nat.zero, _ => []
  | Nat.succ _, nil => []
  | Nat.succ n, cons x xs => x :: take n xs

noncomputable def drop (n : Nat) (xs : List α) : List α := match n, xs with
  | Nat.zero, xs => xs
  | Nat.succ _, nil => []
  | Nat.succ n, cons _ xs => drop n xs

end List

/-! ## The equations that define them -/

variable {α : Type u} {β : Type v}

theorem List.nil_append (ys : List α) : [] ++ ys = ys := rfl
theorem List.cons_append (x : α) (xs ys : List α) : x :: xs ++ ys = x :: (xs ++ ys) := rfl

theorem List.length_nil : List.length ([] : List α) = 0 := rfl
theorem List.length_cons (x : α) (xs : List α) : List.length (x :: xs) = List.length xs + 1 := rfl

theorem List.reverse_nil : List.reverse ([] : List α) = [] := rfl
theorem List.reverse_cons (x : α) (xs : List α) : List.reverse (x :: xs) = List.reverse xs ++ [x] := rfl

theorem List.map_nil (f : α → β) : List.map f [] = [] := rfl
theorem List.map_cons (f : α → β) (x : α) (xs : List α) : List.map f (x :: xs) = f x :: List.map f xs := rfl

theorem List.filter_nil (p : α → Bool) : List.filter p [] = [] := rfl
theorem List.filter_cons_of_pos {p : α → Bool} {x : α} (xs : List α) (h : p x = Bool.true) :
    List.filter p (x :: xs) = x :: List.filter p xs :=
  congrArg (fun c => cond c (x :: List.filter p xs) (List.filter p xs)) h
theorem List.filter_cons_of_neg {p : α → Bool} {x : α} (xs : List α) (h : p x = Bool.false) :
    List.filter p (x :: xs) = List.filter p xs :=
  congrArg (fun c => cond c (x :: List.filter p xs) (List.filter p xs)) h

theorem List.take_zero (xs : List α) : List.take 0 xs = [] := rfl
theorem List.take_succ_nil (n : Nat) : List.take (n + 1) ([] : List α) = [] := rfl
theorem List.take_succ_cons (n : Nat) (x : α) (xs : List α) : List.take (n + 1) (x :: xs) = x :: List.take n xs := rfl

theorem List.drop_zero (xs : List α) : List.drop 0 xs = xs := rfl
theorem List.drop_succ_nil (n : Nat) : List.drop (n + 1) ([] : List α) = [] := rfl
theorem List.drop_succ_cons (n : Nat) (x : α) (xs : List α) : List.drop (n + 1) (x :: xs) = List.drop n xs := rfl
