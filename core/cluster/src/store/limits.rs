//! The sizes that every backend enforces alike, before it touches anything.

use super::{
    CONDITIONS_MAX, Key, Operation, StoreError, TRANSACTION_MAX, Transaction, VALUE_BYTES_MAX,
};

impl Transaction {
    /// Whether the transaction keeps to the limits of the contract.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], which says what is.
    pub fn check(&self) -> Result<(), StoreError> {
        let steps = self.conditions.len() + self.operations.len();
        if steps > TRANSACTION_MAX {
            return Err(StoreError::TooLarge(format!(
                "a transaction of {steps} steps, allowed are {TRANSACTION_MAX}"
            )));
        }
        let conditions = self.conditions.len();
        if conditions > CONDITIONS_MAX {
            return Err(StoreError::TooLarge(format!(
                "a transaction with {conditions} conditions, allowed are {CONDITIONS_MAX}"
            )));
        }
        self.operations.iter().try_for_each(Operation::check)
    }
}

impl Operation {
    fn check(&self) -> Result<(), StoreError> {
        match self {
            Operation::Put { key, value } if value.len() > VALUE_BYTES_MAX => {
                Err(StoreError::TooLarge(format!(
                    "{key}: a value of {} bytes, allowed are {VALUE_BYTES_MAX}",
                    value.len()
                )))
            }
            Operation::DeletePrefix { prefix }
                if prefix.is_empty() || prefix.len() > Key::BYTES_MAX =>
            {
                Err(StoreError::TooLarge(format!(
                    "a prefix of {} bytes, allowed are 1 to {}",
                    prefix.len(),
                    Key::BYTES_MAX
                )))
            }
            _ => Ok(()),
        }
    }
}
